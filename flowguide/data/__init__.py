from ._collect import collect as collect
from ._dataset import Dataset as Dataset, from_arrays as from_arrays
from ._ogbench import dataset_name as dataset_name, load_ogbench as load_ogbench
from ._windows import Batch as Batch, Windows as Windows
